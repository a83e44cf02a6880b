-- ARGV: nonce, and `forget` where nobody waits for the answer any more
-- Gives the answer to an ask; `asked` while there is none; `lost` when it must be asked again; or why there will be none.
if ARGV[2] then return redis.call('HDEL', ANSWERS, ARGV[1]) end
local answer = redis.call('HGET', ANSWERS, ARGV[1])
if answer and answer ~= '?' then return string.match(answer, '^%d+(=.*)$') end
local have = redis.call('HMGET', META, 'g', 'es', 'n', 'x')
if not have[1] then return 'missing' end
if have[2] then return 'ended' end
if not answer then return 'lost' end
if not have[3] or tonumber(have[4]) <= now() then return 'abandoned' end
return 'asked'
