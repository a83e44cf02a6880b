-- ARGV: nonce, packed, most asks, most bytes, prefix of the channels of nodes, id
-- Gives `asked`, also when it is repeated, or why it was not; and `abandoned` when nobody would hear it.
local have = redis.call('HMGET', META, 'g', 'es', 'n', 'x', 'qn', 'qb')
if not have[1] then return 'missing' end
if have[2] then return 'ended' end
if redis.call('HEXISTS', ANSWERS, ARGV[1]) == 0 then
  local bytes = tonumber(have[6]) + #ARGV[2]
  if redis.call('HLEN', ANSWERS) >= tonumber(ARGV[3]) or bytes > tonumber(ARGV[4]) then return 'busy' end
  local number = int(tonumber(have[5]) + 1)
  redis.call('XADD', ASKS, number .. '-0', 'a', ARGV[1], 'd', ARGV[2])
  redis.call('HSET', ANSWERS, ARGV[1], '?')
  redis.call('HSET', META, 'qn', number, 'qb', int(bytes))
  withRun(ASKS)
  withRun(ANSWERS)
end
if not have[3] or tonumber(have[4]) <= now() then return 'abandoned' end
redis.call('PUBLISH', ARGV[5] .. have[3], ARGV[6])
return 'asked'
