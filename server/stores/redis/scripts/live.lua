-- KEYS: the live runs of this Redis. ARGV: how many, then what comes before and behind an id in the key of its meta.
-- Gives so many of them: id, what `list.lua` gives, whether it is parked, and the process that holds it.
local runs = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)) do
  local key = ARGV[2] .. id .. ARGV[3]
  local have = redis.call('HMGET', key, 'a', 'p', 't', 'm', 'g', 's', 'eo')
  if have[5] then runs[#runs + 1] = { id, have, redis.call('HEXISTS', key, 'pk'), redis.call('HGET', key, 'n') or '' } end
end
return runs
