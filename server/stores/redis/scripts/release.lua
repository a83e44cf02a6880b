-- ARGV: id, fence, channel, prefix of the pools, liveMs
local have = redis.call('HMGET', META, 'fe', 'es', 'pl', 'w', 'pk')
if have[1] ~= ARGV[2] or have[2] then return 0 end
redis.call('HDEL', META, 'n')
redis.call('HSET', META, 'x', '0')
redis.call('ZADD', LIVE, 0, ARGV[1])
if have[3] and have[5] and not have[4] then toPool(have[3], ARGV[4] .. have[3], ARGV[1], now(), ARGV[5]) end
redis.call('PUBLISH', ARGV[3], '!')
return 1
