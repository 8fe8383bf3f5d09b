-- Ends a session if it is this user's, or nobody's. KEYS: record. ARGV: id, user, life of a tombstone in ms.
-- Answers 'LIVE' when it was, 'GONE' when there was none, 'OTHER' when it is left alone.
local record = KEYS[1]
local id, user, tombstone_ms = ARGV[1], ARGV[2], ARGV[3]

local current = redis.call('GET', record)
if current == TOMBSTONE then return 'GONE' end
if current and owner_of(id, current) ~= user then return 'OTHER' end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
return current and 'LIVE' or 'GONE'
