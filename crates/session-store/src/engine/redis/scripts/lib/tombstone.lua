-- Whether a value is a tombstone: what follows its first bytes may say more.
local function is_tombstone(value)
  return value and string.sub(value, 1, #TOMBSTONE) == TOMBSTONE
end
