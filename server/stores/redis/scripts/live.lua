-- KEYS: the live runs of this Redis. ARGV: how many to pass over, how many, then what comes before and behind an id in the
-- key of its meta.
-- Gives how many places it has looked at, and the runs there: what `list.lua` gives of each, and the process that holds it.
-- Those come first that are looked at last: such that nobody holds, because they wait in a pool.
local places = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1, 'REV')
local runs = {}
for _, id in ipairs(places) do
  local key = ARGV[3] .. id .. ARGV[4]
  local have = redis.call('HMGET', key, 'a', 'p', 't', 'm', 'g', 's', 'eo', 'w', 'n')
  if have[5] then runs[#runs + 1] = { id, have, redis.call('HEXISTS', key, 'pk') } end
end
return { #places, runs }
