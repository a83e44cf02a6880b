-- ARGV: fence, number, packed, prefix of the channels of nodes, id
if redis.call('HGET', META, 'fe') ~= ARGV[1] then return 0 end
local entry = redis.call('XRANGE', ASKS, ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
if not entry then return 0 end
local nonce, packed = entry[2][2], entry[2][4]
redis.call('XDEL', ASKS, entry[1])
redis.call('HINCRBY', META, 'qb', -#packed)
-- Otherwise nobody waits for it any more.
if redis.call('HEXISTS', ANSWERS, nonce) == 1 then
  redis.call('HSET', ANSWERS, nonce, int(now()) .. '=' .. ARGV[3])
  redis.call('PUBLISH', ARGV[4] .. string.match(nonce, '^[^/]*'), ARGV[5])
end
return 1
