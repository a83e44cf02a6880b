-- ARGV: node, ttlMs, packed or '', prefix of the channels of nodes, id
local have = redis.call('HMGET', META, 'g', 'es', 'n')
if not have[1] or have[2] then return 0 end
local before = redis.call('HGET', READERS, ARGV[1])
if ARGV[3] == '' then
  redis.call('HDEL', READERS, ARGV[1])
else
  redis.call('HSET', READERS, ARGV[1], int(now() + tonumber(ARGV[2])) .. ' ' .. ARGV[3])
  withRun(READERS)
end
-- The same again is no news.
if (before and string.match(before, '^%d+ (.*)$') or '') == ARGV[3] then return 1 end
redis.call('HINCRBY', META, 'rv', 1)
if have[3] then redis.call('PUBLISH', ARGV[4] .. have[3], ARGV[5]) end
return 1
