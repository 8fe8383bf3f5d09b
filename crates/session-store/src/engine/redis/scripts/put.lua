-- Indexes and writes a session record.
-- KEYS: index, legacy list, record. ARGV: id, record, its life in ms, '1' when something is expected, what is expected,
-- 'never' | 'always' | createdAt in ms, key prefix, '1' to answer the user's other ids.
local index, legacy, record = KEYS[1], KEYS[2], KEYS[3]
local id, value, ttl, expects, expected, create = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local key_prefix, list_others = ARGV[7], ARGV[8]

local current = redis.call('GET', record)
if current == TOMBSTONE then return { 'REFUSED' } end
if current and (expects ~= '1' or current ~= expected) then return { 'DIFFERS', current } end
local now = now_ms()
if not current and (create == 'never' or (create ~= 'always' and math.abs(now - tonumber(create)) > YOUNG_MS)) then
  return { 'OLD', digits(now) }
end

-- Index first, and in it first a command that a full memory refuses: then nothing has been written.
index_call(key_prefix, 'ZADD', index, 'GT', digits(now + ttl), id)
keep_index(index, ttl)
if not current then redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS)) end
redis.call('SET', record, value, 'PX', ARGV[3])

if current then return { 'REPLACED' } end
if list_others ~= '1' then return { 'CREATED' } end
fold(key_prefix, index, legacy)
-- An id whose time is past is dead, even if it stays in the index for the margin.
return { 'CREATED', redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf') }
