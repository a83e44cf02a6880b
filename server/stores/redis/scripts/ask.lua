-- ARGV: nonce, packed, most asks, most bytes, how long an answer is kept that nobody fetches, prefix of the channels of
-- nodes, id
-- Gives `asked`, also when it is repeated, or why it was not; and `abandoned` when nobody would hear it.
local have = redis.call('HMGET', META, 'g', 'es', 'n', 'x', 'qn', 'qb')
if not have[1] then return 'missing' end
if have[2] then return 'ended' end
-- Whoever asked and died fetches no answer.
local function forgetUnfetched()
  local all, before = redis.call('HGETALL', ANSWERS), now() - tonumber(ARGV[5])
  for index = 1, #all, 2 do
    local answeredAt = string.match(all[index + 1], '^%d+')
    if answeredAt and tonumber(answeredAt) < before then redis.call('HDEL', ANSWERS, all[index]) end
  end
end
if redis.call('HEXISTS', ANSWERS, ARGV[1]) == 0 then
  local bytes, most = tonumber(have[6]) + #ARGV[2], tonumber(ARGV[3])
  if redis.call('HLEN', ANSWERS) >= most then forgetUnfetched() end
  if redis.call('HLEN', ANSWERS) >= most or bytes > tonumber(ARGV[4]) then return 'busy' end
  -- The clock counts too: after a failover the holder has heard asks that Redis does not know any more.
  local number = int(math.max(tonumber(have[5]) + 1, now()))
  redis.call('XADD', ASKS, number .. '-0', 'a', ARGV[1], 'd', ARGV[2])
  redis.call('HSET', ANSWERS, ARGV[1], '?')
  redis.call('HSET', META, 'qn', number, 'qb', int(bytes))
  withRun(ASKS)
  withRun(ANSWERS)
end
if not have[3] or tonumber(have[4]) <= now() then return 'abandoned' end
redis.call('PUBLISH', ARGV[6] .. have[3], ARGV[7])
return 'asked'
