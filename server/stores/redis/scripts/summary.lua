-- Gives the run as a list has it: actor, principal, start, meta, life, last item, outcome, and whether it is parked.
return { redis.call('HMGET', META, 'a', 'p', 't', 'm', 'g', 's', 'eo'), redis.call('HEXISTS', META, 'pk') }
