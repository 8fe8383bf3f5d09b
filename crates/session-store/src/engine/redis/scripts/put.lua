-- Indexes and writes a session record.
-- KEYS: index, record. ARGV: id, record, its life in ms, '1' when something is expected, what is expected,
-- 'never' | 'always' | createdAt in ms, key prefix.
-- Answers { outcome, detail }; put_listing.lua goes on where this ends.
local index, record = KEYS[1], KEYS[2]
local id, ttl, create, key_prefix = ARGV[1], tonumber(ARGV[3]), ARGV[6], ARGV[7]

local current = redis.call('GET', record)
if current == TOMBSTONE then return { 'REFUSED' } end
if current and (ARGV[4] ~= '1' or current ~= ARGV[5]) then return { 'DIFFERS', current } end
local now = now_ms()
if not current and (create == 'never' or (create ~= 'always' and math.abs(now - tonumber(create)) > YOUNG_MS)) then
  return { 'OLD', digits(now) }
end

-- Index first, and in it first a command that a full memory refuses: then nothing has been written.
index_call(key_prefix, 'ZADD', index, 'GT', digits(now + ttl), id)
keep_index(index, ttl)
redis.call('SET', record, ARGV[2], 'PX', ARGV[3])

if current then return { 'REPLACED' } end
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS))
