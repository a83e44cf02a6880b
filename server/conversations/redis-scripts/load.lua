-- ARGV: a version, or ''
-- Gives version, title, createdAt, updatedAt and data of the conversation, and the bytes of its messages: of all, or of
-- those that were stored after that version. Nothing: there is none.
local record = redis.call('HMGET', RECORD, 'v', 't', 'c', 'u', 'd')
if not record[1] then return false end
if ARGV[1] == '' then return { record, redis.call('HVALS', MESSAGES) } end
local messages = {}
for index, id in ipairs(redis.call('ZRANGE', VERSIONS, '(' .. ARGV[1], '+inf', 'BYSCORE')) do
  messages[index] = redis.call('HGET', MESSAGES, id)
end
return { record, messages }
