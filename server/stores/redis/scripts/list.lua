-- KEYS: the list of a principal. ARGV: the latest start, how many to pass over, how many, then what comes before and behind
-- an id in the key of its meta.
-- Gives how many places it has looked at, and the runs there, the newest first: id; actor, principal, start, meta, life,
-- last item, outcome, until when it waits for a worker; whether it is parked. One that has expired leaves the list.
local places = redis.call('ZRANGE', KEYS[1], ARGV[1], '-inf', 'BYSCORE', 'REV', 'LIMIT', ARGV[2], ARGV[3])
local runs = {}
for _, id in ipairs(places) do
  local key = ARGV[4] .. id .. ARGV[5]
  local have = redis.call('HMGET', key, 'a', 'p', 't', 'm', 'g', 's', 'eo', 'w')
  if have[5] then
    runs[#runs + 1] = { id, have, redis.call('HEXISTS', key, 'pk') }
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return { #places, runs }
