-- Gives the meta of a run, its inputs, and the time that is left of its lease.
local meta = redis.call('HGETALL', META)
if #meta == 0 then return { meta } end
local due = redis.call('HGET', META, 'n') and redis.call('HGET', META, 'x') or '0'
return { meta, redis.call('HGETALL', INPUTS), int(tonumber(due) - now()) }
