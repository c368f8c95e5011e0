"""The pages of the review app (Streamlit); what they show comes from review/view.py."""
