-- KEYS: the live runs. ARGV: what comes before and behind an id in the key of its meta, most
-- Gives the ids of runs that nobody holds. The score of a run says when to look at it: its lease may be longer by now.
local at, found = now(), {}
while #found < tonumber(ARGV[3]) do
  local some = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(at), 'LIMIT', #found, 256)
  for _, id in ipairs(some) do
    local have = redis.call('HMGET', ARGV[1] .. id .. ARGV[2], 'g', 'es', 'n', 'x')
    if not have[1] or have[2] then
      redis.call('ZREM', KEYS[1], id)
    elseif have[3] and tonumber(have[4]) > at then
      redis.call('ZADD', KEYS[1], have[4], id)
    elseif #found < tonumber(ARGV[3]) then
      found[#found + 1] = id
    end
  end
  if #some < 256 then break end
end
return found
