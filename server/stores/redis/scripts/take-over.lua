-- ARGV: id, node, leaseMs, liveMs, channel, most lives
-- Gives `taken` and the life, `busy`, `ended` or `missing`.
local have = redis.call('HMGET', META, 'g', 'es', 'n', 'x', 's', 'lv', 'to', 'an')
if not have[1] then return { 'missing' } end
if have[2] then return { 'ended' } end
local at = now()
if have[3] and tonumber(have[4]) > at then
  -- One whose answer was lost is repeated, and gives what it gave.
  local isMine = have[3] == ARGV[2] and have[7] == ARGV[2] and have[8] == '0'
  return isMine and { 'taken', have[1] } or { 'busy' }
end
-- The clock counts too: a Redis that was restored from a copy must not give a number again that a client knows.
local gen = int(math.max(tonumber(have[1]) + 1, at))
local lives = {}
for life in string.gmatch(have[6] .. ',' .. gen .. ':' .. int(tonumber(have[5]) + 1), '[^,]+') do
  lives[#lives + 1] = life
end
while #lives > tonumber(ARGV[6]) do table.remove(lives, 1) end
local due = int(at + tonumber(ARGV[3]))
redis.call('HSET', META, 'g', gen, 'n', ARGV[2], 'x', due, 'to', ARGV[2], 'an', '0', 'lv', table.concat(lives, ','))
expireRun(ARGV[4])
redis.call('ZADD', LIVE, due, ARGV[1])
atLeast(LIVE, ARGV[4])
redis.call('PUBLISH', ARGV[5], '!')
return { 'taken', gen }
