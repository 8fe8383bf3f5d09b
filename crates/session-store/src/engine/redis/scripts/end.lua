-- Ends a key: a session record or nothing becomes a tombstone and leaves its owner's index; any other value is deleted.
-- KEYS: record. ARGV: id, life of the tombstone in ms, user prefix, '1' to answer what lay there.
local record = KEYS[1]
local id, tombstone_ms, user_prefix, answer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local current = redis.call('GET', record)
if current == TOMBSTONE then return false end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
local owner = current and owner_of(id, current)
if owner or not current then redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms) end
if owner then unindex(string.sub(record, 1, #record - #id), user_prefix .. owner, { id }) end
return answer == '1' and current
