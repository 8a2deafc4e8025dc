-- Why a point of sale cannot be worked on, for who looks after it; no secrets.

ALTER TABLE tusfacturas.point ADD COLUMN trouble text;
