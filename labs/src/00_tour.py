# %% [markdown]
# # Two minutes through the glass
