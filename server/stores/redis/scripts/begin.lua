-- ARGV: id, nonce, node, leaseMs, liveMs, actor, principal, startedAt, packed, meta or '', key input or '', then what
-- comes before and behind an id in the key of its meta
-- Gives 1 and the life when this call began the run, also if it is repeated; else 0, the life, the holder, the key input.
local id, nonce, node, leaseMs, liveMs = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local have = redis.call('HMGET', META, 'b', 'g', 'n', 'k')
if have[1] then
  return { have[1] == nonce and 1 or 0, have[2], have[3] or '', have[4] or '' }
end
local due = int(now() + tonumber(leaseMs))
redis.call('DEL', LOG, INPUTS, ASKS, ANSWERS, READERS)
redis.call('HSET', META, 'b', nonce, 'g', '1', 'n', node, 'x', due, 's', '0', 'o', '1', 'lv', '1:1', 'by', '0',
  'an', '0', 'qn', '0', 'qb', '0', 'rv', '0', 'a', ARGV[6], 'p', ARGV[7], 't', ARGV[8], 'f', ARGV[9])
if ARGV[10] ~= '' then redis.call('HSET', META, 'm', ARGV[10]) end
if ARGV[11] ~= '' then redis.call('HSET', META, 'k', ARGV[11]) end
redis.call('PEXPIRE', META, liveMs)
redis.call('ZADD', LIVE, due, id)
redis.call('ZADD', LIST, ARGV[8], id)
atLeast(LIVE, liveMs)
atLeast(LIST, liveMs)
-- Runs that have expired leave the list now and then, so that it does not grow for ever.
for _, other in ipairs(redis.call('ZRANDMEMBER', LIST, 3)) do
  if redis.call('EXISTS', ARGV[12] .. other .. ARGV[13]) == 0 then redis.call('ZREM', LIST, other) end
end
return { 1, '1', node, '' }
