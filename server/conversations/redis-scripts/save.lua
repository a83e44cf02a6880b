-- ARGV: the name of this change, the version that is expected, 0 for none; version, title, createdAt, updatedAt, data; how
-- long it is kept in milliseconds, 0 for ever; its member of the list; the channel of the conversation, and what to say
-- there, or ''; then id and bytes of each message.
-- Gives 1 when it was stored, also if it is repeated; 0 when another version is.
local name, expected, version, title, createdAt, updatedAt, data = unpack(ARGV, 1, 7)
local keepMs, member, channel, said = tonumber(ARGV[8]), ARGV[9], ARGV[10], ARGV[11]
if isRepeated(name) then return 1 end
local have = redis.call('HMGET', RECORD, 'v', 'c')
if (have[1] or '0') ~= expected then return 0 end
-- One that was removed, and begun again under its name, is another one.
if have[1] and have[2] ~= createdAt then return 0 end
if not have[1] then redis.call('UNLINK', MESSAGES, VERSIONS) end

redis.call('HSET', RECORD, 'v', version, 't', title, 'c', createdAt, 'u', updatedAt, 'd', data)
for index = 12, #ARGV, 2 do
  redis.call('HSET', MESSAGES, ARGV[index], ARGV[index + 1])
  redis.call('ZADD', VERSIONS, version, ARGV[index])
end

prune()
local listMs = redis.call('PTTL', LIST)
redis.call('ZADD', LIST, updatedAt, member)
if keepMs > 0 then
  local due = int(now() + keepMs)
  for _, key in ipairs({ RECORD, MESSAGES, VERSIONS }) do redis.call('PEXPIREAT', key, due) end
  redis.call('ZADD', DUES, due, member)
  if redis.call('PTTL', DUES) < keepMs then redis.call('PEXPIREAT', DUES, due) end
  -- A list that has one that is kept for ever is kept so itself.
  if listMs ~= -1 and listMs < keepMs then redis.call('PEXPIREAT', LIST, due) end
else
  for _, key in ipairs({ RECORD, MESSAGES, VERSIONS, LIST }) do redis.call('PERSIST', key) end
  redis.call('ZREM', DUES, member)
end
note(name)
if said ~= '' then redis.call('PUBLISH', channel, said) end
return 1
