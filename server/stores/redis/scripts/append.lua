-- ARGV: id, fence, number of the append, leaseMs, keepMs, maxRunBytes, channel, the item that
-- Redis has to have next, last, batch or '',
-- end seq or '', outcome, end, parked: '' nothing, '0' goes on, '1' and its bytes; usage or '',
-- outbox, number of notices, id and body of each notice, then mid and input in turn
-- Gives what became of it, the number of the last ask, and the version of the readers.
local id, fence, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
local batch, seq = ARGV[10], ARGV[11]
local have = redis.call('HMGET', META, 'fe', 's', 'es', 'an', 'qn', 'rv', 'by')
if not have[1] or have[1] ~= fence then return { 'fenced' } end
local function done(what) return { what, have[5], have[6] } end
-- One that was sent again on another connection, or comes behind those that followed it.
if number <= tonumber(have[4]) then return done('ok') end
local last, isSameEnd = tonumber(have[2]), seq ~= '' and seq == have[3]
if batch ~= '' then
  if tonumber(ARGV[9]) <= last and (seq == '' or isSameEnd) then return done('ok') end
elseif isSameEnd then
  return done('ok')
end
if have[3] then return done('ended') end
-- Also an end, or a state, without items: Redis may have lost some that it had.
if tonumber(ARGV[8]) ~= last + 1 then return done('gap') end

local changes = { 'an', ARGV[3] }
local function change(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end
local bytes = tonumber(have[7]) + #batch
if batch ~= '' then
  redis.call('XADD', LOG, ARGV[9] .. '-0', 'd', batch)
  withRun(LOG)
  change('s', ARGV[9])
  local most = tonumber(ARGV[6])
  if bytes > most then
    -- A sixteenth is left free, so that a log that is full is not trimmed with every append.
    local kept = most - math.ceil(most / 16)
    local from = '-'
    while bytes > kept do
      local oldest = redis.call('XRANGE', LOG, from, '+', 'COUNT', 2)
      if #oldest < 2 then break end
      bytes = bytes - #oldest[1][2][2]
      from = oldest[2][1]
      change('o', int(tonumber(string.match(oldest[1][1], '^%d+')) + 1))
    end
    if from ~= '-' then redis.call('XTRIM', LOG, 'MINID', from) end
  end
  change('by', int(bytes))
end
local parked = string.sub(ARGV[14], 1, 1)
if parked ~= '' or seq ~= '' then redis.call('DEL', INPUTS) end
if parked == '1' then change('pk', string.sub(ARGV[14], 2)) end
if parked == '0' or seq ~= '' then redis.call('HDEL', META, 'pk') end
if ARGV[15] ~= '' then change('u', ARGV[15]) end
local inputsAt = 18 + 2 * tonumber(ARGV[17])
for index = 18, inputsAt - 1, 2 do addNotice(ARGV[16], ARGV[index], ARGV[index + 1]) end
if seq == '' then
  for index = inputsAt, #ARGV, 2 do
    redis.call('HSETNX', INPUTS, ARGV[index], redis.call('HLEN', INPUTS) .. ' ' .. ARGV[index + 1])
    withRun(INPUTS)
  end
  change('x', int(now() + tonumber(ARGV[4])))
else
  change('es', seq)
  change('eo', ARGV[12])
  change('ep', ARGV[13])
  redis.call('HDEL', META, 'n', 'x')
  redis.call('DEL', ASKS)
  redis.call('ZREM', LIVE, id)
end
redis.call('HSET', META, unpack(changes))
if seq ~= '' then expireRun(ARGV[5]) end
-- Whoever has the list of its principal reads what it is now.
if parked ~= '' or seq ~= '' then redis.call('PUBLISH', LIST, id) end
if batch ~= '' or seq ~= '' then redis.call('PUBLISH', ARGV[7], (seq ~= '' and '!' or '+') .. batch) end
return done('ok')
