-- KEYS: the outbox. ARGV: most
-- Gives how many were removed, and how many are left. Those that came first go first, at most 1,000 in one call.
local _, at = outboxOf(KEYS[1])
local beyond = math.min(1000, redis.call('ZCARD', at) - tonumber(ARGV[1]))
if beyond > 0 then
  for _, id in ipairs(redis.call('ZRANGE', at, 0, beyond - 1)) do removeNotice(KEYS[1], id) end
end
return { math.max(0, beyond), redis.call('ZCARD', at) }
