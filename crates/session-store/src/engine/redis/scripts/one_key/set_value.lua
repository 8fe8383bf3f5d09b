-- Writes a value that is no session record, over anything but the session record of another
-- application. Answers 1; 0 when nothing was written.
--
-- KEYS[1]  key
--
-- ARGV[1]  id
-- ARGV[2]  value
-- ARGV[3]  ttl      life in ms ('': for ever)

--- @include "another_application"

local key, id, value, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

-- A key of another type has no text.
local current = redis.pcall('GET', key)
if type(current) == 'string' and is_record_of_another(id, current) then return 0 end
if ttl == '' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', ttl) end
return 1
