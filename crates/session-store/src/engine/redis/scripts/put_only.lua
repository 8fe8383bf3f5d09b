
local KEYS_EACH = 2

local function created()
  return 'CREATED'
end
