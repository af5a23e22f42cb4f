-- Which of the product's columns are sealed, so that their keys can be renewed.

SET LOCAL ROLE {app}_owner;
SELECT vault.seals('studio.artists', 'person', '{email,phone,legal_name,tax_id,address,bank}');
