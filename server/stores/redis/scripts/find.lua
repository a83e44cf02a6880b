-- Gives the meta of a run, its inputs, and the time that is left of its wait in a pool.
local meta = redis.call('HGETALL', META)
if #meta == 0 then return { meta } end
local waits = redis.call('HGET', META, 'w') or '0'
return { meta, redis.call('HGETALL', INPUTS), int(tonumber(waits) - now()) }
