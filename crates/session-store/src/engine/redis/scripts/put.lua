-- Indexes and writes a session record.
-- KEYS: index, legacy list, record. ARGV: id, record, its life in ms, '1' when something is expected, what is expected,
-- 'never' | 'always' | createdAt in ms, how young a created session must be in ms, index margin in ms, key prefix, '1' to list the others.
local index, legacy, record = KEYS[1], KEYS[2], KEYS[3]
local id, value, ttl, expects, expected, create = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local young, margin, key_prefix, list_others = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10]

local now = now_ms()
local current = redis.call('GET', record)
if current == TOMBSTONE then return { 'REFUSED' } end
if current then
  if expects ~= '1' or current ~= expected then return { 'DIFFERS', current } end
elseif create == 'never' or (create ~= 'always' and math.abs(now - tonumber(create)) > young) then
  return { 'OLD', digits(now) }
end

-- Index first, and in it first a command that a full memory refuses: then nothing has been written.
if is_plain_set(index) then fold(index, legacy, key_prefix, now, margin) end
redis.call('ZADD', index, 'GT', digits(now + ttl), id)
fold(index, legacy, key_prefix, now, margin)
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - margin))
keep_index(index, now, margin)
redis.call('SET', record, value, 'PX', ttl)

if current then return { 'REPLACED' } end
if list_others ~= '1' then return { 'CREATED' } end
-- An id whose time is past is dead, even if it stays in the index for the margin.
return { 'CREATED', redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf') }
