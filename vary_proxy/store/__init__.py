"""Where stored responses live: in memory, or shared."""
