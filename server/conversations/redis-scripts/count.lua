-- Gives how many conversations the owner has.
prune()
return redis.call('ZCARD', LIST)
