-- KEYS: the outbox. ARGV: id, ms
return redis.call('ZADD', KEYS[1], 'XX', int(now() + tonumber(ARGV[2])), ARGV[1])
