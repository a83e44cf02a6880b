-- ARGV: fence, number of the last ask that was heard
-- Gives `fenced`; or the asks behind that one, and who reads the run in other processes.
local have = redis.call('HMGET', META, 'fe', 'qn', 'rv')
if have[1] ~= ARGV[1] then return { 'fenced' } end
local at, readers = now(), {}
local all = redis.call('HGETALL', READERS)
for index = 1, #all, 2 do
  local due, packed = string.match(all[index + 1], '^(%d+) (.*)$')
  if tonumber(due) > at then
    readers[#readers + 1] = all[index]
    readers[#readers + 1] = packed
  else
    redis.call('HDEL', READERS, all[index])
  end
end
return { 'ok', have[2], have[3], redis.call('XRANGE', ASKS, '(' .. ARGV[2] .. '-0', '+', 'COUNT', 100), readers }
