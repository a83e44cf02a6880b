-- ARGV: id, fence, channel, prefix of the pools, liveMs
-- The run was taken by a worker in this life, and nothing was done with it: it waits again, before all others.
local have = redis.call('HMGET', META, 'fe', 'es', 'wg', 'an', 'pl', 'wo', 'g')
if have[1] ~= ARGV[2] or have[2] or have[3] ~= have[7] or have[4] ~= '0' then return 0 end
redis.call('HDEL', META, 'n', 'wg')
redis.call('HSET', META, 'x', '0', 'w', have[6])
redis.call('ZADD', LIVE, have[6], ARGV[1])
redis.call('ZADD', ARGV[4] .. have[5], 0, ARGV[1])
atLeast(ARGV[4] .. have[5], ARGV[5])
redis.call('PUBLISH', ARGV[4] .. have[5], ARGV[1])
redis.call('PUBLISH', LIST, ARGV[1])
redis.call('PUBLISH', ARGV[3], '!')
return 1
