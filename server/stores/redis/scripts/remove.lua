-- ARGV: id, channel, prefix of the lists of principals, prefix of the pools
-- Gives whether there was such a run. The list of its principal is a key of the call, or unknown to the caller.
local principal, pool = unpack(redis.call('HMGET', META, 'p', 'pl'))
redis.call('ZREM', LIVE, ARGV[1])
if principal then redis.call('ZREM', ARGV[3] .. principal, ARGV[1]) end
if pool then redis.call('ZREM', ARGV[4] .. pool, ARGV[1]) end
redis.call('DEL', META, LOG, INPUTS, ASKS, ANSWERS, READERS)
if principal then redis.call('PUBLISH', ARGV[3] .. principal, ARGV[1]) end
redis.call('PUBLISH', ARGV[2], '!')
return principal and 1 or 0
