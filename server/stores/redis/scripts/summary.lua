-- Gives the run as a list has it: what `list.lua` gives of it, without its id.
return { redis.call('HMGET', META, 'a', 'p', 't', 'm', 'g', 's', 'eo', 'w'), redis.call('HEXISTS', META, 'pk') }
