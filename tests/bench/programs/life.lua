-- Lua: tables, closures, the garbage collector.
local n = tonumber(arg[1])
local size, grid = 64, {}
for i = 0, size * size - 1 do grid[i] = (i * i * 7 + i * 13) % 5 < 2 and 1 or 0 end
local function at(g, x, y) return g[(y % size) * size + x % size] end
for _ = 1, n do
	local nextgrid = {}
	for y = 0, size - 1 do
		for x = 0, size - 1 do
			local sum = 0
			for dy = -1, 1 do for dx = -1, 1 do
				if dx ~= 0 or dy ~= 0 then sum = sum + at(grid, x + dx, y + dy) end
			end end
			nextgrid[y * size + x] = (sum == 3 or (sum == 2 and at(grid, x, y) == 1)) and 1 or 0
		end
	end
	grid = nextgrid
end
local text = {}
for i = 0, size * size - 1 do text[#text + 1] = grid[i] end
print(#table.concat(text):gsub("0", ""))
