-- ARGV: id, node, leaseMs, liveMs, channel, most lives, prefix of the pools, who: '' for one who looks after abandoned
-- runs, `stop` for one who cancels, or `+` and the pool of a worker; prefix of the lists of principals
-- Gives `taken` and the life, `busy`, `ended` or `missing`.
local have = redis.call('HMGET', META, 'g', 'es', 'n', 'x', 's', 'lv', 'to', 'an', 'pl', 'w', 'pk', 'p')
local who = ARGV[8]
if not have[1] or have[2] then
  if string.sub(who, 1, 1) == '+' then redis.call('ZREM', ARGV[7] .. string.sub(who, 2), ARGV[1]) end
  return { have[1] and 'ended' or 'missing' }
end
local at = now()
if have[3] and tonumber(have[4]) > at then
  -- One whose answer was lost is repeated, and gives what it gave: also the whole lease.
  local isMine = have[3] == ARGV[2] and have[7] == ARGV[2] and have[8] == '0'
  if not isMine then return { 'busy' } end
  redis.call('HSET', META, 'x', int(at + tonumber(ARGV[3])))
  return { 'taken', have[1] }
end
local pool, due = have[9], have[10] and tonumber(have[10])
local isBegun, goesToPool = false, false
if pool then
  local waiting, isWorker = ARGV[7] .. pool, who == '+' .. pool
  if not isWorker and who ~= 'stop' then
    if due and at < due then return { 'busy' } end
    goesToPool = not due and have[11]
  end
  if goesToPool then toPool(pool, waiting, ARGV[1], at, ARGV[4]) else redis.call('ZREM', waiting, ARGV[1]) end
  -- It waits there already.
  if goesToPool and not have[3] then return { 'busy' } end
  isBegun = isWorker and due and at < due
end
-- The clock counts too: a Redis that was restored from a copy must not give a number again that a client knows.
local gen = int(math.max(tonumber(have[1]) + 1, at))
local lives = {}
for life in string.gmatch(have[6] .. ',' .. gen .. ':' .. int(tonumber(have[5]) + 1), '[^,]+') do
  lives[#lives + 1] = life
end
while #lives > tonumber(ARGV[6]) do table.remove(lives, 1) end
if goesToPool then
  -- A holder that only stood still has lost it: it would have it on and on, while workers try to take it.
  redis.call('HDEL', META, 'n')
  redis.call('HSET', META, 'g', gen, 'fe', gen, 'x', '0', 'lv', table.concat(lives, ','))
  redis.call('PUBLISH', ARGV[5], '!')
  return { 'busy' }
end
local expires = int(at + tonumber(ARGV[3]))
redis.call('HSET', META, 'g', gen, 'fe', gen, 'n', ARGV[2], 'x', expires, 'to', ARGV[2], 'an', '0', 'lv', table.concat(lives, ','))
if isBegun then
  redis.call('HDEL', META, 'w')
  redis.call('HSET', META, 'wo', have[10], 'wg', gen)
  redis.call('PUBLISH', ARGV[9] .. have[12], ARGV[1])
elseif due then
  -- Whoever comes next if this one dies may end it.
  redis.call('HSET', META, 'w', '0')
end
expireRun(ARGV[4])
redis.call('ZADD', LIVE, expires, ARGV[1])
atLeast(LIVE, ARGV[4])
redis.call('PUBLISH', ARGV[5], '!')
return { 'taken', gen }
