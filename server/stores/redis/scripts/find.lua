-- Gives the meta of a run, its inputs, and the times that are left of its lease and of its wait in a pool.
local meta = redis.call('HGETALL', META)
if #meta == 0 then return { meta } end
local due = redis.call('HGET', META, 'n') and redis.call('HGET', META, 'x') or '0'
local waits = redis.call('HGET', META, 'w') or '0'
return { meta, redis.call('HGETALL', INPUTS), int(tonumber(due) - now()), int(tonumber(waits) - now()) }
