"""Self-distillation: views, masks, heads, losses, schedules, and the module that trains them."""
