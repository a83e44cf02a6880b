-- ARGV: the name of this change, the version that is expected, or '' for any; its member of the list; the channel of the
-- conversation
-- Gives 1 when it was removed, also if it is repeated; 0 when there is none; -1 when another version is stored.
local name, expected, member, channel = unpack(ARGV)
if isRepeated(name) then return 1 end
local version = redis.call('HGET', RECORD, 'v')
if version and expected ~= '' and version ~= expected then return -1 end
redis.call('UNLINK', RECORD, MESSAGES, VERSIONS)
redis.call('ZREM', LIST, member)
redis.call('ZREM', DUES, member)
if not version then return 0 end
note(name)
redis.call('PUBLISH', channel, '0')
return 1
