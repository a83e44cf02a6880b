-- ARGV: nonce, and `forget` once the answer is known
-- Gives the answer to an ask; `asked` while there is none; or why there will be none.
local answer = redis.call('HGET', ANSWERS, ARGV[1])
if ARGV[2] then return redis.call('HDEL', ANSWERS, ARGV[1]) end
if answer and answer ~= '?' then return answer end
local have = redis.call('HMGET', META, 'g', 'es', 'n', 'x')
if not have[1] or not answer then return 'missing' end
if have[2] then return 'ended' end
if not have[3] or tonumber(have[4]) <= now() then return 'abandoned' end
return 'asked'
