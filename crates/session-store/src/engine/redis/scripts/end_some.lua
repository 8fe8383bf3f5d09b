
-- Ends some of a user's sessions: no more than fits into one part, so that nobody else waits long.
-- KEYS: index, legacy list, not-before marker. ARGV: user, id to spare ('' = none), life of a tombstone in ms, key prefix, the marker in ms
-- since the epoch ('' = none) and its life in ms, then the ids to end; none: the first of the index, if there is no legacy list.
-- Answers how many ids it has looked at and how many of them were live, the dead, those that Rust has to decide, and 1 when these were all.
local MOST, MOST_BYTES = TOGETHER, 1024 * 1024
local index, legacy, marker = KEYS[1], KEYS[2], KEYS[3]
local user, spared, tombstone_ms, key_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if ARGV[5] ~= '' then raise(marker, ARGV[5], math.max(redis.call('PTTL', index), tonumber(ARGV[6]))) end
local ids = { unpack(ARGV, 7) }
local first = #ids == 0 and redis.call('EXISTS', legacy) == 0
if first then ids = index_call(key_prefix, 'ZRANGE', index, 0, MOST) end

-- A write that changes nothing. Once a script has written, a full memory refuses it nothing.
index_call(key_prefix, 'ZREM', index, '')
local looked, live, bytes, gone, undecided = 0, 0, 0, {}, {}
for n = 1, math.min(#ids, MOST) do
  local id = ids[n]
  local record = key_prefix .. id
  -- A key of another type is no session. Any other refusal is this step's.
  local size = id ~= spared and redis.pcall('STRLEN', record)
  if type(size) == 'table' and not string.find(size.err, 'WRONGTYPE', 1, true) then return size end
  if type(size) == 'number' then
    if bytes > 0 and bytes + size > MOST_BYTES then break end
    bytes = bytes + size
    local outcome = end_of_user(record, id, user, tombstone_ms)
    if outcome == 'LIVE' then live = live + 1 end
    if outcome == 'LIVE' or outcome == 'GONE' then gone[#gone + 1] = id end
    if outcome == 'UNDECIDED' then undecided[#undecided + 1] = id end
  end
  looked = n
end
unindex(key_prefix, index, gone)
return { looked, live, gone, undecided, first and looked == #ids and 1 or 0 }
