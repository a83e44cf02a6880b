-- KEYS: the outbox. ARGV: most, forMs
-- Gives id, body, attempt and age of each notice that is due, and keeps it from others.
local due, at, bodies, tries = outboxOf(KEYS[1])
local time, found = now(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', int(time), 'LIMIT', 0, ARGV[1])) do
  local body, came = redis.call('HGET', bodies, id), redis.call('ZSCORE', at, id)
  if body and came then
    local attempt = redis.call('HINCRBY', tries, id, 1)
    redis.call('ZADD', due, int(time + tonumber(ARGV[2])), id)
    found[#found + 1] = { id, body, attempt, int(math.max(0, time - tonumber(came))) }
  else
    removeNotice(KEYS[1], id)
  end
end
return found
