-- Gives the members of the list of an owner.
return redis.call('ZRANGE', LIST, 0, -1)
