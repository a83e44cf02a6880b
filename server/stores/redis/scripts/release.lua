-- ARGV: id, gen, channel
local have = redis.call('HMGET', META, 'g', 'es')
if have[1] ~= ARGV[2] or have[2] then return 0 end
redis.call('HDEL', META, 'n')
redis.call('HSET', META, 'x', '0')
redis.call('ZADD', LIVE, 0, ARGV[1])
redis.call('PUBLISH', ARGV[3], '!')
return 1
