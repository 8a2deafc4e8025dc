"""How bytes travel, and the evidence of their sending. The only folder that imports httpx."""
