-- Ends some of a user's sessions: no more than fit into one part, so that no other client waits
-- long. Answers how many ids it has looked at and how many of them were live, the dead, those that
-- Rust has to decide, and 1 when these were all.
--
-- KEYS[1]    index
-- KEYS[2]    legacy list
-- KEYS[3]    not-before marker
--
-- ARGV[1]    user
-- ARGV[2]    spared          the id to spare ('': none)
-- ARGV[3]    tombstone_ms    life of a tombstone, in ms
-- ARGV[4]    key_prefix
-- ARGV[5]    the marker, in ms since the epoch ('': none)
-- ARGV[6]    life of the marker, in ms
-- ARGV[7..]  the ids to end; none: the first of the index, if there is no legacy list

--- @include "end_if_owned"
--- @include "index_call"
--- @include "raise"
--- @include "remove_from_index"

local MOST, MOST_BYTES = IDS_PER_STEP, 1024 * 1024
local index, legacy_list, marker = KEYS[1], KEYS[2], KEYS[3]
local user, spared, tombstone_ms, key_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if ARGV[5] ~= '' then raise(marker, ARGV[5], math.max(redis.call('PTTL', index), tonumber(ARGV[6]))) end
local ids = { unpack(ARGV, 7) }
local first = #ids == 0 and redis.call('EXISTS', legacy_list) == 0
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
    local outcome = end_if_owned(record, id, user, tombstone_ms)
    if outcome == 'LIVE' then live = live + 1 end
    if outcome == 'LIVE' or outcome == 'GONE' then gone[#gone + 1] = id end
    if outcome == 'UNDECIDED' then undecided[#undecided + 1] = id end
  end
  looked = n
end
remove_from_index(key_prefix, index, gone)
return { looked, live, gone, undecided, first and looked == #ids and 1 or 0 }
