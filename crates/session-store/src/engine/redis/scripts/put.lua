
-- Indexes and writes a session record.
-- KEYS: record, index. ARGV: those of check.lua, key prefix. put_listing.lua and put_only.lua go on where this ends.
local index, key_prefix = KEYS[2], ARGV[7]

-- Index first, and in it first a command that a full memory refuses: then nothing has been written.
index_call(key_prefix, 'ZADD', index, 'GT', digits(now + ttl), id)
keep_index(index, ttl)
redis.call('SET', record, ARGV[2], 'PX', ARGV[3])

if current then return { 'REPLACED' } end
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS))
