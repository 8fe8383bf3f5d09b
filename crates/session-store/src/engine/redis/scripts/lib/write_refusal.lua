--- @include "digits"
--- @include "tombstone"

-- Why a session record may not be written, as the answer { outcome, detail }. nil: it may.
--
-- `expected`: what must lie there, or NOTHING.
-- `create`: 'never', 'always', or the session's createdAt in ms since the epoch.
local function write_refusal(current, expected, create, now)
  if is_tombstone(current) then return { 'REFUSED' } end
  if current and current ~= expected then return { 'DIFFERS', current } end
  if not current and (create == 'never' or (create ~= 'always' and math.abs(now - tonumber(create)) > YOUNG_MS)) then
    return { 'OLD', digits(now) }
  end
end
