-- Whether a session record may be written, which is what its script goes on to do.
-- KEYS: record, ... ARGV: id, record, its life in ms, '1' when something is expected, what is expected,
-- 'never' | 'always' | createdAt in ms, ... Answers { outcome, detail }.
local record = KEYS[1]
local id, ttl, create = ARGV[1], tonumber(ARGV[3]), ARGV[6]

local current = redis.call('GET', record)
if current == TOMBSTONE then return { 'REFUSED' } end
if current and (ARGV[4] ~= '1' or current ~= ARGV[5]) then return { 'DIFFERS', current } end
local now = now_ms()
if not current and (create == 'never' or (create ~= 'always' and math.abs(now - tonumber(create)) > YOUNG_MS)) then
  return { 'OLD', digits(now) }
end
