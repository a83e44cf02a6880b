-- ARGV: id, nonce, node, leaseMs, liveMs, actor, principal, startedAt, packed, meta or '', key input or '', then what
-- comes before and behind an id in the key of its meta, then prefix of the pools, pool or '', waitMs and the most that wait
-- Gives 1 and the life when this call began the run, also if it is repeated, or 0 and the life; then the holder, the key
-- input and the fence; or 2 when the pool is full. A run of a pool has no holder, and is looked at when it has waited too long.
local id, nonce, node, leaseMs, liveMs = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local have = redis.call('HMGET', META, 'b', 'g', 'n', 'k', 'fe')
if have[1] then
  -- The answer was lost, and with it some of the lease: nobody has kept it since.
  if have[1] == nonce and have[3] == node then redis.call('HSET', META, 'x', int(now() + tonumber(leaseMs))) end
  return { have[1] == nonce and 1 or 0, have[2], have[3] or '', have[4] or '', have[5] }
end
local pool, waiting = ARGV[15], ARGV[14] .. ARGV[15]
if pool ~= '' and redis.call('ZCARD', waiting) >= tonumber(ARGV[17]) then return { 2, '0', '', '', '' } end
local due = int(now() + tonumber(pool == '' and leaseMs or ARGV[16]))
-- Whose fence is another one holds the run no more. A run that Redis has lost may begin again, with the same first life:
-- its fence is not that of the one who held it before.
redis.call('DEL', LOG, INPUTS, ASKS, ANSWERS, READERS)
redis.call('HSET', META, 'b', nonce, 'fe', nonce, 'g', '1', 's', '0', 'o', '1', 'lv', '1:1', 'by', '0',
  'an', '0', 'qn', '0', 'qb', '0', 'rv', '0', 'a', ARGV[6], 'p', ARGV[7], 't', ARGV[8], 'f', ARGV[9])
if pool == '' then
  redis.call('HSET', META, 'n', node, 'x', due)
else
  redis.call('HSET', META, 'pl', pool, 'w', due)
  redis.call('ZADD', waiting, int(now()), id)
  atLeast(waiting, liveMs)
  redis.call('PUBLISH', waiting, id)
end
if ARGV[10] ~= '' then redis.call('HSET', META, 'm', ARGV[10]) end
if ARGV[11] ~= '' then redis.call('HSET', META, 'k', ARGV[11]) end
redis.call('PEXPIRE', META, liveMs)
redis.call('ZADD', LIVE, due, id)
redis.call('ZADD', LIST, ARGV[8], id)
redis.call('PUBLISH', LIST, id)
atLeast(LIVE, liveMs)
atLeast(LIST, liveMs)
-- Runs that have expired leave the list now and then, so that it does not grow for ever.
for _, other in ipairs(redis.call('ZRANDMEMBER', LIST, 3)) do
  if redis.call('EXISTS', ARGV[12] .. other .. ARGV[13]) == 0 then redis.call('ZREM', LIST, other) end
end
return { 1, '1', pool == '' and node or '', '', nonce }
