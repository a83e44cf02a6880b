-- ARGV: id, fence, leaseMs, liveMs or '', the item that Redis has to have next, or one before that
-- Gives what became of it, the number of the last ask, and the version of the readers.
local have = redis.call('HMGET', META, 'fe', 'es', 'qn', 'rv', 's')
if not have[1] or have[1] ~= ARGV[2] then return { 'fenced' } end
if have[2] then return { 'ended', have[3], have[4] } end
-- Redis has lost some that it had.
if tonumber(have[5]) + 1 < tonumber(ARGV[5]) then return { 'gap', have[3], have[4] } end
redis.call('HSET', META, 'x', int(now() + tonumber(ARGV[3])))
if ARGV[4] ~= '' then
  expireRun(ARGV[4])
  atLeast(LIVE, ARGV[4])
  atLeast(LIST, ARGV[4])
end
return { 'ok', have[3], have[4] }
