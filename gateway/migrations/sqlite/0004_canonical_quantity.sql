-- The canonical value of a quantity stands beside the given one, under the mirrored part (-1 - part); a search by unit finds
-- it here. Rows written before have none until they are written again.
CREATE INDEX index_quantity_canonical ON index_quantity (facet, code, low, high, row) WHERE part = -1;
